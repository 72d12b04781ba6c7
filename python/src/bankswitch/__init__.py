"""Client of bankswitch: one convolutional network, many input domains."""

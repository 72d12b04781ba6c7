"""Banks as numpy writes them, with numbers that test/bank/bank-npz.test.ts knows by heart.

    python npz_goldens.py --repository ..
"""
import argparse
import io
from pathlib import Path

import numpy as np


class Unseekable(io.RawIOBase):
    """A pipe: sizes can only follow an entry, in its data descriptor."""

    def __init__(self):
        self.parts = []

    def writable(self):
        return True

    def write(self, part):
        self.parts.append(bytes(part))
        return len(part)


def bank():
    arrays = {
        'bn1.running_mean': np.array([-1.5, 0.25, 3], '<f4'),
        'bn1.running_var': np.array([0.5, 1, 2.75], '<f8'),
        'bn1.weight': np.array([1, -2, 0.125], '<f2'),
        'bn1.bias': np.array([0, 4, -0.5], '>f4'),
        'layer1.0.bn2.running_mean': np.array([7.5, -8], '>f8'),
        'layer1.0.bn2.running_var': np.array([9, 10.5], '>f2'),
        'conv1.weight': np.asfortranarray(np.arange(12, dtype='<f4').reshape(3, 4)),
    }
    for key in ('bn1', 'layer1.0.bn2'):
        arrays[f'{key}.num_batches_tracked'] = np.array(7, '<i8')
    return arrays


parser = argparse.ArgumentParser()
parser.add_argument('--repository', type=Path, required=True)
golden = parser.parse_args().repository / 'test' / 'golden'
np.savez(golden / 'bank-stored.npz', **bank())
np.savez_compressed(golden / 'bank-deflated.npz', **bank())
pipe = Unseekable()
np.savez_compressed(pipe, **bank())
(golden / 'bank-piped.npz').write_bytes(b''.join(pipe.parts))
np.savez(golden / 'bank-pickled.npz', **bank(), epochs=np.array([{'loss': 1}], object))

"""Every call as an exchange of requests and answers, without a network; both clients are made of these."""

"""Files from outside: what they are, how they are read, and the token streams of them."""

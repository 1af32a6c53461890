"""Read files from outside (uploads, archives, the hub) and the token streams made of them."""

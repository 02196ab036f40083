"""Parts of the `livejam` command: as `livejam.cli`, they may import everything, and nothing else imports them."""

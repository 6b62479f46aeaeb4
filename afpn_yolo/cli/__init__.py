"""The console command `afpn`: one file a command."""

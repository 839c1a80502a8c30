# Runs a command that may not use io_uring: seccomp(2) answers io_uring_setup with EPERM, as container runtimes do.
#
#   perl without-io-uring.pl COMMAND [ARGUMENT...]
use strict;
use warnings;

my ($prctl, $no_new_privs, $set_seccomp, $filter_mode, $io_uring_setup) = (157, 38, 22, 2, 425);
my @program = (
  [0x20, 0, 0, 0],                # load the number of the call
  [0x15, 0, 1, $io_uring_setup],  # if it is this one
  [0x06, 0, 0, 0x00050001],       # EPERM
  [0x06, 0, 0, 0x7fff0000],       # else allow it
);
my $filter = join '', map { pack 'S C C L', @$_ } @program;
my $header = pack 'S x6 P', scalar @program, $filter;
syscall($prctl, $no_new_privs, 1, 0, 0, 0) == 0 or die "prctl: $!";
syscall($prctl, $set_seccomp, $filter_mode, $header, 0, 0) == 0 or die "seccomp: $!";
exec @ARGV or die "$ARGV[0]: $!";

# The first thing in a resumed machine: what may not be the same in every run.
#   begin.pl MILLISECONDS_SINCE_1970 HEX_BYTES
# Perl, because one process does it all: in emulation each further one costs a tenth of a second.
use strict;
my ($time, $entropy) = @ARGV;
use constant { SYS_settimeofday => 164, RNDRESEEDCRNG => 0x5207 };

syscall(SYS_settimeofday, pack('qq', int($time / 1000), $time % 1000 * 1000), 0) == 0 or die "cannot set the time: $!";
open(my $random, '>', '/dev/urandom') or die "cannot open /dev/urandom: $!";
syswrite($random, pack('H*', $entropy));
# A write alone waits for the next time that the kernel's generator takes new seed.
ioctl($random, RNDRESEEDCRNG, 0) or die "cannot reseed the random number generator: $!";

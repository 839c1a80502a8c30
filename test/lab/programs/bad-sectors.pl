# A block device of the device-mapper with bad sectors in it, over another device; prints its path. dmsetup(8) is not in the
# lab, and this is all of it that is needed: struct dm_ioctl and struct dm_target_spec of linux/dm-ioctl.h.
#
#   perl bad-sectors.pl DEVICE SECTORS FIRST-BAD COUNT
use strict;
use warnings;

my ($device, $sectors, $bad, $count) = @ARGV;
my ($create, $suspend, $load) = (3, 6, 9);
my $header = 312;
my $behind = $bad + $count;

sub target {
  my ($start, $length, $type, $parameters) = @_;
  my $text = pack('Z*', $parameters);
  $text .= "\0" while length($text) % 8;
  return pack('Q< Q< l< L< a16', $start, $length, 0, 40 + length $text, $type) . $text;
}

open(my $control, '+<', '/dev/mapper/control') or die "control: $!";
sub command {
  my ($number, @targets) = @_;
  my $data = join '', @targets;
  my $size = $header + length $data;
  my $block = pack('L<3 L< L< L< l< L< L< L< Q< a128 a129 x7', 4, 0, 0, $size, $header, scalar @targets, 0, 0, 0, 0, 0, 'bad', '');
  $block .= $data;
  ioctl($control, 3 << 30 | $header << 16 | 0xfd << 8 | $number, $block) or die "command $number: $!";
}

command($create);
command($load,
  target(0, $bad, 'linear', "$device 0"),
  target($bad, $count, 'error', ''),
  target($behind, $sectors - $behind, 'linear', "$device $behind"));
command($suspend); # without its flag: resume
print "/dev/dm-0\n";

use strict;
use warnings;
use IO::Socket::INET;
use Parallel::Prefork;

$| = 1;
my $listener = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 128, Proto => 'tcp') or die "listen: $!";
print "PORT=", $listener->sockport, "\n";
my $pm = Parallel::Prefork->new({ max_workers => $ARGV[0], trap_signals => { TERM => 'TERM' } });
while ($pm->signal_received ne 'TERM') {
    $pm->start(sub {
        print "UP=$$\n";
        while (my $connection = $listener->accept) {
            my $line = '';
            until ($line =~ /\n\z/) {
                sysread($connection, $line, 512, length $line) or last;
            }
            syswrite($connection, $line);
            close $connection;
        }
    });
}
$pm->wait_all_children;

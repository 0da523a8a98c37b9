# The requests of Plack's suite for servers, by its own client: `run_server_tests` with a server that runs already.
use strict;
use warnings;
use Plack::LWPish;
use Plack::Test::Suite;
use Test::More;

my ($port) = @ARGV;
$ENV{PLACK_TEST_SCRIPT_NAME} = '/plack';
my $client = Plack::LWPish->new(no_proxy => ['127.0.0.1']);
my @tests = @Plack::Test::Suite::TEST;
my $passed = 0;
for my $number (0 .. $#tests) {
    my ($name, $check) = @{ $tests[$number] };
    $passed += subtest $name => sub {
        $check->(sub {
            my $request = shift;
            $request->uri->port($port);
            $request->uri->path($ENV{PLACK_TEST_SCRIPT_NAME} . $request->uri->path);
            $request->header('X-Plack-Test' => $number);
            $client->request($request);
        });
        done_testing;
    };
}
done_testing;
print "$passed of ", scalar @tests, "\n";

# A PSGI application: says its version.
sub { [200, ["Content-Type" => "text/plain"], ["starman, version $ENV{VERSION}\n"]] };

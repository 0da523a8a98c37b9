#!/usr/bin/perl
use strict;
use warnings;
use Plack::Handler::CGI;
use Plack::Middleware::Lint;
use Plack::Test::Suite;

Plack::Handler::CGI->new->run(Plack::Middleware::Lint->wrap(Plack::Test::Suite->test_app_handler));

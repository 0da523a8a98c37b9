#!/usr/bin/perl -T
use strict;
use warnings;
use CGI;
use Digest::SHA;

my $form = CGI->new;
my $file = $form->upload('file');
print $form->header(-type => 'text/plain', -charset => 'utf-8', -cookie => $form->cookie(name => 'seen', value => 'yes'));
print join(' ', $form->request_method, $form->url(-absolute => 1), $form->path_info, $form->param('name') // '-'), "\n";
print join(' ', $form->param('file') . '', Digest::SHA->new(256)->addfile($file)->hexdigest, -s $file), "\n" if $file;

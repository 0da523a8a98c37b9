#!/bin/sh
# A CGI program, RFC 3875: what the request is is in the environment, its body on stdin.
printf 'Content-Type: text/plain\r\n\r\n'
printf 'NAME says hello to %s\n' "${PATH_INFO:-/}"

#!/usr/bin/fossil
repository: /srv/fossil/hello.fossil

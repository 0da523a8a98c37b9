#!/bin/sh
printf "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

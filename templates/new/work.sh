#!/bin/sh
# Works until it is told to stop, and finishes what it has begun.
trap 'stopped=yes' TERM
echo "version $VERSION works"
while [ -z "$stopped" ]; do
    date >>"$STATE_DIRECTORY/log"
    sleep 5 &
    wait $!
done
echo "version $VERSION has stopped"

#!/usr/bin/python3
import collections
import json
import os
import re
import sys

length = int(os.environ.get("CONTENT_LENGTH") or 0)
if os.environ["REQUEST_METHOD"] != "POST":
    sys.stdout.write("Status: 405 Method Not Allowed\r\nAllow: POST\r\nContent-Type: text/plain\r\n\r\npost a text\n")
    sys.exit()
text = sys.stdin.buffer.read(length).decode(errors="replace")
words = collections.Counter(re.findall(r"\w+", text.lower()))
sys.stdout.write("Content-Type: application/json\r\n\r\n")
json.dump(dict(words.most_common(10)), sys.stdout)

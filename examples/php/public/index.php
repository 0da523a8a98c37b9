<?php
header("Content-Type: text/plain");
echo "php, version ", getenv("VERSION"), "\n";

<?php
$file = $_FILES["file"];
http_response_code($file["error"] ? 400 : 201);
header("Content-Type: text/plain;charset=UTF-8");
echo $file["name"], " ", $file["size"], " ", hash_file("sha256", $file["tmp_name"]), "\n";

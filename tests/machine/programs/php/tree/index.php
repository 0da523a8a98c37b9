<?php
header("X-Kind: page");
echo "<p>", htmlspecialchars($_SERVER["REQUEST_METHOD"] . " " . ($_GET["q"] ?? "") . " " . ($_POST["name"] ?? "")), "</p>\n";
foreach (["SCRIPT_NAME", "PHP_SELF", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL", "HTTP_HOST", "SERVER_PORT"] as $name)
    echo "$name=", ($_SERVER[$name] ?? "") ?: "-", "\n";

<?php
header("Location: http://localhost/php/index.php?q=moved");

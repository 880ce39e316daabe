<?php
// What PHP's web server asks first: files of the app that are not for visitors are hidden. The server has found the file
// already, so what counts is what it found, however the request spelled it.
$hidden = ['procfile', 'vendor', 'node_modules', 'composer.json', 'composer.lock', 'package.json', 'app.json'];

$root = rtrim($_SERVER['DOCUMENT_ROOT'], '/');
$found = $_SERVER['SCRIPT_FILENAME'];
$path = str_starts_with($found, "$root/") ? substr($found, strlen($root)) : $found;
$parts = array_values(array_filter(explode('/', $path), fn ($part) => $part !== '' && $part !== '.'));
$isSecret = fn ($part) => $part[0] === '.' && $part !== '.well-known';
$ofTheApp = realpath($root) === realpath(dirname(__DIR__));
// Compared without case, since the file system below may be one that does.
$isHidden = $ofTheApp && $parts !== [] && in_array(strtolower($parts[0]), $hidden, true);
if ($isHidden || array_filter($parts, $isSecret) !== []) {
    http_response_code(404);
    header('Content-Type: text/plain');
    header('Content-Length: 10');
    echo "Not found\n";
    return true;
}
// The file, or the index.php above it.
return false;

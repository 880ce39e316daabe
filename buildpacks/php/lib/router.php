<?php
// What PHP's web server asks first: files of the app that are not for visitors are hidden.
$hidden = ['procfile', 'vendor', 'node_modules', 'composer.json', 'composer.lock', 'package.json', 'app.json'];

$path = rawurldecode((string) parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH));
$parts = array_values(array_filter(explode('/', $path), fn ($part) => $part !== '' && $part !== '.'));
$isSecret = fn ($part) => $part[0] === '.' && $part !== '.well-known';
$ofTheApp = realpath($_SERVER['DOCUMENT_ROOT']) === realpath(dirname(__DIR__));
// Compared without case, since the file system below may be one that does.
$isHidden = $ofTheApp && $parts !== [] && in_array(strtolower($parts[0]), $hidden, true);
if (str_contains($path, "\0") || $isHidden || array_filter($parts, $isSecret) !== []) {
    http_response_code(404);
    echo "Not found\n";
    return true;
}
// The file, or the index.php above it.
return false;

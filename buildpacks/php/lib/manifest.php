<?php
// Answers questions about a composer.json: `php manifest.php FILE QUESTION`; yes is exit status 0.
[, $file, $question] = $argv;
$manifest = json_decode(preg_replace('/^\xEF\xBB\xBF/', '', file_get_contents($file)), true);
if (!is_array($manifest)) {
    fwrite(STDERR, " !     composer.json cannot be read: " . json_last_error_msg() . "\n");
    exit(2);
}
// PHP itself, its extensions and libraries are of the stack, and Composer's own are no packages.
$isPackage = fn ($name) => str_contains((string) $name, '/');
$answers = [
    'valid' => fn () => true,
    'requires' => fn () => array_filter(array_keys((array) ($manifest['require'] ?? [])), $isPackage) !== [],
];
exit($answers[$question]() ? 0 : 1);

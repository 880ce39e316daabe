# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ruko_fetch_global_optspecs
    string join \n h/help V/version
end

function __fish_ruko_fetch_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ruko_fetch_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ruko_fetch_using_subcommand
    set -l cmd (__fish_ruko_fetch_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ruko-fetch -n "__fish_ruko_fetch_needs_command" -s h -l help -d 'Print help'
complete -c ruko-fetch -n "__fish_ruko_fetch_needs_command" -s V -l version -d 'Print version'
complete -c ruko-fetch -n "__fish_ruko_fetch_needs_command" -f -a "get" -d 'Write an object to stdout or to a file'
complete -c ruko-fetch -n "__fish_ruko_fetch_needs_command" -f -a "put" -d 'Store stdin or a file as an object, and print its size in bytes and its SHA-256'
complete -c ruko-fetch -n "__fish_ruko_fetch_needs_command" -f -a "extract" -d 'Unpack a tar.gz beneath a directory'
complete -c ruko-fetch -n "__fish_ruko_fetch_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand get" -s o -l output -d 'A file that is written whole or not at all; `-` is stdout' -r -F
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand get" -s h -l help -d 'Print help'
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand put" -s i -l input -d 'The file to store; `-` is stdin' -r -F
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand put" -l max-bytes -d 'Refuse more than this many bytes' -r
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand put" -l json -d 'Print one JSON object'
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand put" -s h -l help -d 'Print help'
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand extract" -l into -d 'The directory, which exists' -r -F
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand extract" -l max-bytes -d 'Refuse files of together more than this many bytes' -r
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand extract" -l max-entries -d 'Refuse more than this many files, directories and links' -r
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand extract" -l links -d 'Where symbolic links in the archive may point' -r -f -a "inside\t'Beneath the directory'
any\t'Anywhere; slugs contain links to /app'"
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand extract" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand help; and not __fish_seen_subcommand_from get put extract help" -f -a "get" -d 'Write an object to stdout or to a file'
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand help; and not __fish_seen_subcommand_from get put extract help" -f -a "put" -d 'Store stdin or a file as an object, and print its size in bytes and its SHA-256'
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand help; and not __fish_seen_subcommand_from get put extract help" -f -a "extract" -d 'Unpack a tar.gz beneath a directory'
complete -c ruko-fetch -n "__fish_ruko_fetch_using_subcommand help; and not __fish_seen_subcommand_from get put extract help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'

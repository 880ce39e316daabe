complete -c openruko-router -l config -d 'The configuration file' -r -F
complete -c openruko-router -l check -d 'Read and judge the configuration, then end without doing anything'
complete -c openruko-router -l upgrade -d 'Take the listening sockets over from the router that runs now, which then ends when its open requests have ended; no connection is refused in between'
complete -c openruko-router -s h -l help -d 'Print help'
complete -c openruko-router -s V -l version -d 'Print version'

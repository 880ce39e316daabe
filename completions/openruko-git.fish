complete -c openruko-git -l config -d 'The configuration file' -r -F
complete -c openruko-git -l check -d 'Read and judge the configuration, then end without doing anything'
complete -c openruko-git -s h -l help -d 'Print help'
complete -c openruko-git -s V -l version -d 'Print version'

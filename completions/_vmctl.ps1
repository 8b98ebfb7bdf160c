
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'vmctl' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'vmctl'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'vmctl' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('login', 'login', [CompletionResultType]::ParameterValue, 'Log in and keep the token')
            [CompletionResult]::new('logout', 'logout', [CompletionResultType]::ParameterValue, 'Revoke the token and forget it')
            [CompletionResult]::new('whoami', 'whoami', [CompletionResultType]::ParameterValue, 'Show who is logged in, where, and until when')
            [CompletionResult]::new('vm', 'vm', [CompletionResultType]::ParameterValue, 'Create, show and delete virtual machines')
            [CompletionResult]::new('job', 'job', [CompletionResultType]::ParameterValue, 'Submit, follow, list, cancel and retry jobs')
            [CompletionResult]::new('profile', 'profile', [CompletionResultType]::ParameterValue, 'Sizes of machines')
            [CompletionResult]::new('region', 'region', [CompletionResultType]::ParameterValue, 'Places for machines')
            [CompletionResult]::new('kind', 'kind', [CompletionResultType]::ParameterValue, 'Kinds of jobs')
            [CompletionResult]::new('quota', 'quota', [CompletionResultType]::ParameterValue, 'Show what the project may use, and what it uses')
            [CompletionResult]::new('admin', 'admin', [CompletionResultType]::ParameterValue, 'For those who run the service; needs the role admin')
            [CompletionResult]::new('completion', 'completion', [CompletionResultType]::ParameterValue, 'Print the completion script of a shell')
            [CompletionResult]::new('version', 'version', [CompletionResultType]::ParameterValue, 'Print the version')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;login' {
            [CompletionResult]::new('--username', '--username', [CompletionResultType]::ParameterName, 'User name [default: the one of the last login; asked for on a terminal]')
            [CompletionResult]::new('--project', '--project', [CompletionResultType]::ParameterName, 'Project [default: the user''s own]')
            [CompletionResult]::new('--user-domain', '--user-domain', [CompletionResultType]::ParameterName, 'Domain of the user')
            [CompletionResult]::new('--project-domain', '--project-domain', [CompletionResultType]::ParameterName, 'Domain of the project [default: that of the user]')
            [CompletionResult]::new('--store', '--store', [CompletionResultType]::ParameterName, 'Where the token is kept')
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Read the password from stdin')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;logout' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;whoami' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;vm' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('create', 'create', [CompletionResultType]::ParameterValue, 'Ask for a machine')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the machines that exist, newest first')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show a machine that exists, or the job that makes or deletes one')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Ask to delete a machine')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;vm;create' {
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Size of the machine, see `vmctl profile list` [default: the smallest]')
            [CompletionResult]::new('--region', '--region', [CompletionResultType]::ParameterName, 'Place of the machine, see `vmctl region list` [default: the first]')
            [CompletionResult]::new('--hostname', '--hostname', [CompletionResultType]::ParameterName, 'Host name; it must contain lx [default: lx and 8 random characters]')
            [CompletionResult]::new('--env', '--env', [CompletionResultType]::ParameterName, 'Environment: DEV, HML or PRD [default: DEV]')
            [CompletionResult]::new('--trigram', '--trigram', [CompletionResultType]::ParameterName, 'Application trigram [default: vmc]')
            [CompletionResult]::new('--desc', '--desc', [CompletionResultType]::ParameterName, 'Description [default: empty]')
            [CompletionResult]::new('--callback-url', '--callback-url', [CompletionResultType]::ParameterName, 'Call this address when the job has ended; https and public unless the operator says otherwise')
            [CompletionResult]::new('--callback-secret', '--callback-secret', [CompletionResultType]::ParameterName, 'Name of the secret that signs the call [default: default]')
            [CompletionResult]::new('--run-at', '--run-at', [CompletionResultType]::ParameterName, 'Start the job then: a duration such as 2h, or an instant such as 2026-11-24T06:00:00Z; at most 7 days ahead [default: now]')
            [CompletionResult]::new('--start-by', '--start-by', [CompletionResultType]::ParameterName, 'Fail the job if no worker has started it by then: as --run-at, counted from there [default: the kind''s]')
            [CompletionResult]::new('--deadline', '--deadline', [CompletionResultType]::ParameterName, 'End the job then at the latest: as --start-by [default: the kind''s]')
            [CompletionResult]::new('--attempt-timeout', '--attempt-timeout', [CompletionResultType]::ParameterName, 'Stop an attempt that takes longer, and try again: whole seconds such as 90s, or 2h [default: the kind''s]')
            [CompletionResult]::new('--max-attempts', '--max-attempts', [CompletionResultType]::ParameterName, 'Fail the job after so many attempts [default: the kind''s]')
            [CompletionResult]::new('--unique', '--unique', [CompletionResultType]::ParameterName, 'Name that one live job of the project may have at a time; vm create has vm:HOSTNAME, in small letters')
            [CompletionResult]::new('--on-conflict', '--on-conflict', [CompletionResultType]::ParameterName, 'What to do while another job has the name of --unique: refuse, return that job, or run after it [default: reject]')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'With --wait: leave after this long with exit code 8 [default: none]')
            [CompletionResult]::new('--idempotency-key', '--idempotency-key', [CompletionResultType]::ParameterName, 'Key under which a repeated command asks for the same job [default: a new one]')
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--callback-full', '--callback-full', [CompletionResultType]::ParameterName, 'Send output and error with the call')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Follow the job until it ends; the exit code is its outcome')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;vm;list' {
            [CompletionResult]::new('--limit', '--limit', [CompletionResultType]::ParameterName, 'At most so many')
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'All of them')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;vm;show' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;vm;delete' {
            [CompletionResult]::new('--callback-url', '--callback-url', [CompletionResultType]::ParameterName, 'Call this address when the job has ended; https and public unless the operator says otherwise')
            [CompletionResult]::new('--callback-secret', '--callback-secret', [CompletionResultType]::ParameterName, 'Name of the secret that signs the call [default: default]')
            [CompletionResult]::new('--run-at', '--run-at', [CompletionResultType]::ParameterName, 'Start the job then: a duration such as 2h, or an instant such as 2026-11-24T06:00:00Z; at most 7 days ahead [default: now]')
            [CompletionResult]::new('--start-by', '--start-by', [CompletionResultType]::ParameterName, 'Fail the job if no worker has started it by then: as --run-at, counted from there [default: the kind''s]')
            [CompletionResult]::new('--deadline', '--deadline', [CompletionResultType]::ParameterName, 'End the job then at the latest: as --start-by [default: the kind''s]')
            [CompletionResult]::new('--attempt-timeout', '--attempt-timeout', [CompletionResultType]::ParameterName, 'Stop an attempt that takes longer, and try again: whole seconds such as 90s, or 2h [default: the kind''s]')
            [CompletionResult]::new('--max-attempts', '--max-attempts', [CompletionResultType]::ParameterName, 'Fail the job after so many attempts [default: the kind''s]')
            [CompletionResult]::new('--unique', '--unique', [CompletionResultType]::ParameterName, 'Name that one live job of the project may have at a time; vm create has vm:HOSTNAME, in small letters')
            [CompletionResult]::new('--on-conflict', '--on-conflict', [CompletionResultType]::ParameterName, 'What to do while another job has the name of --unique: refuse, return that job, or run after it [default: reject]')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'With --wait: leave after this long with exit code 8 [default: none]')
            [CompletionResult]::new('--idempotency-key', '--idempotency-key', [CompletionResultType]::ParameterName, 'Key under which a repeated command asks for the same job [default: a new one]')
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--callback-full', '--callback-full', [CompletionResultType]::ParameterName, 'Send output and error with the call')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Follow the job until it ends; the exit code is its outcome')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;vm;help' {
            [CompletionResult]::new('create', 'create', [CompletionResultType]::ParameterValue, 'Ask for a machine')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the machines that exist, newest first')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show a machine that exists, or the job that makes or deletes one')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Ask to delete a machine')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;vm;help;create' {
            break
        }
        'vmctl;vm;help;list' {
            break
        }
        'vmctl;vm;help;show' {
            break
        }
        'vmctl;vm;help;delete' {
            break
        }
        'vmctl;vm;help;help' {
            break
        }
        'vmctl;job' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('submit', 'submit', [CompletionResultType]::ParameterValue, 'Ask for a job of any kind')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the project''s jobs, newest first')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show one job')
            [CompletionResult]::new('watch', 'watch', [CompletionResultType]::ParameterValue, 'Follow jobs live; the exit code is their outcome')
            [CompletionResult]::new('wait', 'wait', [CompletionResultType]::ParameterValue, 'Wait silently for jobs; the exit code is their outcome')
            [CompletionResult]::new('cancel', 'cancel', [CompletionResultType]::ParameterValue, 'Ask to cancel jobs')
            [CompletionResult]::new('retry', 'retry', [CompletionResultType]::ParameterValue, 'Run jobs again that have failed or were cancelled')
            [CompletionResult]::new('events', 'events', [CompletionResultType]::ParameterValue, 'Show the history of a job')
            [CompletionResult]::new('logs', 'logs', [CompletionResultType]::ParameterValue, 'Show or follow the log of a job')
            [CompletionResult]::new('callbacks', 'callbacks', [CompletionResultType]::ParameterValue, 'Show how the callbacks of a job went')
            [CompletionResult]::new('redeliver', 'redeliver', [CompletionResultType]::ParameterValue, 'Deliver a callback of a job again')
            [CompletionResult]::new('children', 'children', [CompletionResultType]::ParameterValue, 'List the jobs that a job has asked for, such as the steps of a flow')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;job;submit' {
            [CompletionResult]::new('--input', '--input', [CompletionResultType]::ParameterName, 'The input: JSON, or @FILE, or - for standard input [default: {}]')
            [CompletionResult]::new('--label', '--label', [CompletionResultType]::ParameterName, 'A pair to find the job by, KEY=VALUE; may be repeated')
            [CompletionResult]::new('--callback-url', '--callback-url', [CompletionResultType]::ParameterName, 'Call this address when the job has ended; https and public unless the operator says otherwise')
            [CompletionResult]::new('--callback-secret', '--callback-secret', [CompletionResultType]::ParameterName, 'Name of the secret that signs the call [default: default]')
            [CompletionResult]::new('--run-at', '--run-at', [CompletionResultType]::ParameterName, 'Start the job then: a duration such as 2h, or an instant such as 2026-11-24T06:00:00Z; at most 7 days ahead [default: now]')
            [CompletionResult]::new('--start-by', '--start-by', [CompletionResultType]::ParameterName, 'Fail the job if no worker has started it by then: as --run-at, counted from there [default: the kind''s]')
            [CompletionResult]::new('--deadline', '--deadline', [CompletionResultType]::ParameterName, 'End the job then at the latest: as --start-by [default: the kind''s]')
            [CompletionResult]::new('--attempt-timeout', '--attempt-timeout', [CompletionResultType]::ParameterName, 'Stop an attempt that takes longer, and try again: whole seconds such as 90s, or 2h [default: the kind''s]')
            [CompletionResult]::new('--max-attempts', '--max-attempts', [CompletionResultType]::ParameterName, 'Fail the job after so many attempts [default: the kind''s]')
            [CompletionResult]::new('--unique', '--unique', [CompletionResultType]::ParameterName, 'Name that one live job of the project may have at a time; vm create has vm:HOSTNAME, in small letters')
            [CompletionResult]::new('--on-conflict', '--on-conflict', [CompletionResultType]::ParameterName, 'What to do while another job has the name of --unique: refuse, return that job, or run after it [default: reject]')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'With --wait: leave after this long with exit code 8 [default: none]')
            [CompletionResult]::new('--idempotency-key', '--idempotency-key', [CompletionResultType]::ParameterName, 'Key under which a repeated command asks for the same job [default: a new one]')
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--callback-full', '--callback-full', [CompletionResultType]::ParameterName, 'Send output and error with the call')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Follow the job until it ends; the exit code is its outcome')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;job;list' {
            [CompletionResult]::new('--search', '--search', [CompletionResultType]::ParameterName, 'Only jobs with these words, such as a host name or the text of an error: all words, or a|b, "a phrase", begin*')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Only jobs in these states: queued, running, waiting, retrying, succeeded, failed, cancelled')
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Only jobs of this kind: vm.create')
            [CompletionResult]::new('--parent', '--parent', [CompletionResultType]::ParameterName, 'Only jobs that this job has asked for: its id, the beginning of its id, or @last')
            [CompletionResult]::new('--root', '--root', [CompletionResultType]::ParameterName, 'Only this job and those that were asked for below it')
            [CompletionResult]::new('--created-after', '--created-after', [CompletionResultType]::ParameterName, 'Only jobs submitted later than this: a duration ago such as 2h, or an instant such as 2026-11-24T06:00:00Z')
            [CompletionResult]::new('--created-before', '--created-before', [CompletionResultType]::ParameterName, 'Only jobs submitted earlier than this: as --created-after')
            [CompletionResult]::new('--limit', '--limit', [CompletionResultType]::ParameterName, 'At most so many')
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--oldest-first', '--oldest-first', [CompletionResultType]::ParameterName, 'Oldest first [default: newest first]')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'All of them')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;job;show' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;job;watch' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Leave after this long with exit code 8; the jobs keep running [default: none]')
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;job;wait' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Leave after this long with exit code 8; the jobs keep running')
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;job;cancel' {
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why, for the history')
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;job;retry' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;job;events' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;job;logs' {
            [CompletionResult]::new('--tail', '--tail', [CompletionResultType]::ParameterName, 'Show only so many of the newest lines; the server keeps 200')
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'Go on until the job has ended')
            [CompletionResult]::new('--follow', '--follow', [CompletionResultType]::ParameterName, 'Go on until the job has ended')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;job;callbacks' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;job;redeliver' {
            [CompletionResult]::new('--callback', '--callback', [CompletionResultType]::ParameterName, 'The callback, see `vmctl job callbacks` [default: the newest]')
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;job;children' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;job;help' {
            [CompletionResult]::new('submit', 'submit', [CompletionResultType]::ParameterValue, 'Ask for a job of any kind')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the project''s jobs, newest first')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show one job')
            [CompletionResult]::new('watch', 'watch', [CompletionResultType]::ParameterValue, 'Follow jobs live; the exit code is their outcome')
            [CompletionResult]::new('wait', 'wait', [CompletionResultType]::ParameterValue, 'Wait silently for jobs; the exit code is their outcome')
            [CompletionResult]::new('cancel', 'cancel', [CompletionResultType]::ParameterValue, 'Ask to cancel jobs')
            [CompletionResult]::new('retry', 'retry', [CompletionResultType]::ParameterValue, 'Run jobs again that have failed or were cancelled')
            [CompletionResult]::new('events', 'events', [CompletionResultType]::ParameterValue, 'Show the history of a job')
            [CompletionResult]::new('logs', 'logs', [CompletionResultType]::ParameterValue, 'Show or follow the log of a job')
            [CompletionResult]::new('callbacks', 'callbacks', [CompletionResultType]::ParameterValue, 'Show how the callbacks of a job went')
            [CompletionResult]::new('redeliver', 'redeliver', [CompletionResultType]::ParameterValue, 'Deliver a callback of a job again')
            [CompletionResult]::new('children', 'children', [CompletionResultType]::ParameterValue, 'List the jobs that a job has asked for, such as the steps of a flow')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;job;help;submit' {
            break
        }
        'vmctl;job;help;list' {
            break
        }
        'vmctl;job;help;show' {
            break
        }
        'vmctl;job;help;watch' {
            break
        }
        'vmctl;job;help;wait' {
            break
        }
        'vmctl;job;help;cancel' {
            break
        }
        'vmctl;job;help;retry' {
            break
        }
        'vmctl;job;help;events' {
            break
        }
        'vmctl;job;help;logs' {
            break
        }
        'vmctl;job;help;callbacks' {
            break
        }
        'vmctl;job;help;redeliver' {
            break
        }
        'vmctl;job;help;children' {
            break
        }
        'vmctl;job;help;help' {
            break
        }
        'vmctl;profile' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the profiles, smallest first')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;profile;list' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;profile;help' {
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the profiles, smallest first')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;profile;help;list' {
            break
        }
        'vmctl;profile;help;help' {
            break
        }
        'vmctl;region' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the regions, the default first')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;region;list' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;region;help' {
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the regions, the default first')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;region;help;list' {
            break
        }
        'vmctl;region;help;help' {
            break
        }
        'vmctl;kind' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the kinds of jobs that may be asked for')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;kind;list' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;kind;help' {
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the kinds of jobs that may be asked for')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;kind;help;list' {
            break
        }
        'vmctl;kind;help;help' {
            break
        }
        'vmctl;quota' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;admin' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('queues', 'queues', [CompletionResultType]::ParameterValue, 'Show every queue of the broker')
            [CompletionResult]::new('workers', 'workers', [CompletionResultType]::ParameterValue, 'Show which workers live and what they do')
            [CompletionResult]::new('dead', 'dead', [CompletionResultType]::ParameterValue, 'Jobs that have failed for good')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;admin;queues' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;admin;workers' {
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Only workers that serve this kind: vm.create')
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'Show the jobs that they have in hand')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;admin;dead' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List them, newest first')
            [CompletionResult]::new('replay', 'replay', [CompletionResultType]::ParameterValue, 'Run them again, for the users that have asked for them')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;admin;dead;list' {
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Only jobs of this kind')
            [CompletionResult]::new('--error', '--error', [CompletionResultType]::ParameterName, 'Only jobs whose error is of this type: delivery-limit, malformed, ...')
            [CompletionResult]::new('--project', '--project', [CompletionResultType]::ParameterName, 'Only jobs of this project, by its id')
            [CompletionResult]::new('--limit', '--limit', [CompletionResultType]::ParameterName, 'At most so many')
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;admin;dead;replay' {
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Jobs of this kind')
            [CompletionResult]::new('--error', '--error', [CompletionResultType]::ParameterName, 'Jobs whose error is of this type: delivery-limit, malformed, ...')
            [CompletionResult]::new('--project', '--project', [CompletionResultType]::ParameterName, 'Jobs of this project, by its id')
            [CompletionResult]::new('--limit', '--limit', [CompletionResultType]::ParameterName, 'At most so many [default: 100]')
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;admin;dead;help' {
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List them, newest first')
            [CompletionResult]::new('replay', 'replay', [CompletionResultType]::ParameterValue, 'Run them again, for the users that have asked for them')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;admin;dead;help;list' {
            break
        }
        'vmctl;admin;dead;help;replay' {
            break
        }
        'vmctl;admin;dead;help;help' {
            break
        }
        'vmctl;admin;help' {
            [CompletionResult]::new('queues', 'queues', [CompletionResultType]::ParameterValue, 'Show every queue of the broker')
            [CompletionResult]::new('workers', 'workers', [CompletionResultType]::ParameterValue, 'Show which workers live and what they do')
            [CompletionResult]::new('dead', 'dead', [CompletionResultType]::ParameterValue, 'Jobs that have failed for good')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;admin;help;queues' {
            break
        }
        'vmctl;admin;help;workers' {
            break
        }
        'vmctl;admin;help;dead' {
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List them, newest first')
            [CompletionResult]::new('replay', 'replay', [CompletionResultType]::ParameterValue, 'Run them again, for the users that have asked for them')
            break
        }
        'vmctl;admin;help;dead;list' {
            break
        }
        'vmctl;admin;help;dead;replay' {
            break
        }
        'vmctl;admin;help;help' {
            break
        }
        'vmctl;completion' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;version' {
            [CompletionResult]::new('--endpoint', '--endpoint', [CompletionResultType]::ParameterName, 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Give up connecting after this long')
            [CompletionResult]::new('--http-timeout', '--http-timeout', [CompletionResultType]::ParameterName, 'Give up on one request after this long')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How results are printed')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown')
            [CompletionResult]::new('--config-dir', '--config-dir', [CompletionResultType]::ParameterName, 'Configuration directory; only the environment sets it')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no progress and no hints')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say on stderr what is asked of the server')
            [CompletionResult]::new('--no-input', '--no-input', [CompletionResultType]::ParameterName, 'Never ask anything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'vmctl;help' {
            [CompletionResult]::new('login', 'login', [CompletionResultType]::ParameterValue, 'Log in and keep the token')
            [CompletionResult]::new('logout', 'logout', [CompletionResultType]::ParameterValue, 'Revoke the token and forget it')
            [CompletionResult]::new('whoami', 'whoami', [CompletionResultType]::ParameterValue, 'Show who is logged in, where, and until when')
            [CompletionResult]::new('vm', 'vm', [CompletionResultType]::ParameterValue, 'Create, show and delete virtual machines')
            [CompletionResult]::new('job', 'job', [CompletionResultType]::ParameterValue, 'Submit, follow, list, cancel and retry jobs')
            [CompletionResult]::new('profile', 'profile', [CompletionResultType]::ParameterValue, 'Sizes of machines')
            [CompletionResult]::new('region', 'region', [CompletionResultType]::ParameterValue, 'Places for machines')
            [CompletionResult]::new('kind', 'kind', [CompletionResultType]::ParameterValue, 'Kinds of jobs')
            [CompletionResult]::new('quota', 'quota', [CompletionResultType]::ParameterValue, 'Show what the project may use, and what it uses')
            [CompletionResult]::new('admin', 'admin', [CompletionResultType]::ParameterValue, 'For those who run the service; needs the role admin')
            [CompletionResult]::new('completion', 'completion', [CompletionResultType]::ParameterValue, 'Print the completion script of a shell')
            [CompletionResult]::new('version', 'version', [CompletionResultType]::ParameterValue, 'Print the version')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'vmctl;help;login' {
            break
        }
        'vmctl;help;logout' {
            break
        }
        'vmctl;help;whoami' {
            break
        }
        'vmctl;help;vm' {
            [CompletionResult]::new('create', 'create', [CompletionResultType]::ParameterValue, 'Ask for a machine')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the machines that exist, newest first')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show a machine that exists, or the job that makes or deletes one')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Ask to delete a machine')
            break
        }
        'vmctl;help;vm;create' {
            break
        }
        'vmctl;help;vm;list' {
            break
        }
        'vmctl;help;vm;show' {
            break
        }
        'vmctl;help;vm;delete' {
            break
        }
        'vmctl;help;job' {
            [CompletionResult]::new('submit', 'submit', [CompletionResultType]::ParameterValue, 'Ask for a job of any kind')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the project''s jobs, newest first')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show one job')
            [CompletionResult]::new('watch', 'watch', [CompletionResultType]::ParameterValue, 'Follow jobs live; the exit code is their outcome')
            [CompletionResult]::new('wait', 'wait', [CompletionResultType]::ParameterValue, 'Wait silently for jobs; the exit code is their outcome')
            [CompletionResult]::new('cancel', 'cancel', [CompletionResultType]::ParameterValue, 'Ask to cancel jobs')
            [CompletionResult]::new('retry', 'retry', [CompletionResultType]::ParameterValue, 'Run jobs again that have failed or were cancelled')
            [CompletionResult]::new('events', 'events', [CompletionResultType]::ParameterValue, 'Show the history of a job')
            [CompletionResult]::new('logs', 'logs', [CompletionResultType]::ParameterValue, 'Show or follow the log of a job')
            [CompletionResult]::new('callbacks', 'callbacks', [CompletionResultType]::ParameterValue, 'Show how the callbacks of a job went')
            [CompletionResult]::new('redeliver', 'redeliver', [CompletionResultType]::ParameterValue, 'Deliver a callback of a job again')
            [CompletionResult]::new('children', 'children', [CompletionResultType]::ParameterValue, 'List the jobs that a job has asked for, such as the steps of a flow')
            break
        }
        'vmctl;help;job;submit' {
            break
        }
        'vmctl;help;job;list' {
            break
        }
        'vmctl;help;job;show' {
            break
        }
        'vmctl;help;job;watch' {
            break
        }
        'vmctl;help;job;wait' {
            break
        }
        'vmctl;help;job;cancel' {
            break
        }
        'vmctl;help;job;retry' {
            break
        }
        'vmctl;help;job;events' {
            break
        }
        'vmctl;help;job;logs' {
            break
        }
        'vmctl;help;job;callbacks' {
            break
        }
        'vmctl;help;job;redeliver' {
            break
        }
        'vmctl;help;job;children' {
            break
        }
        'vmctl;help;profile' {
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the profiles, smallest first')
            break
        }
        'vmctl;help;profile;list' {
            break
        }
        'vmctl;help;region' {
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the regions, the default first')
            break
        }
        'vmctl;help;region;list' {
            break
        }
        'vmctl;help;kind' {
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the kinds of jobs that may be asked for')
            break
        }
        'vmctl;help;kind;list' {
            break
        }
        'vmctl;help;quota' {
            break
        }
        'vmctl;help;admin' {
            [CompletionResult]::new('queues', 'queues', [CompletionResultType]::ParameterValue, 'Show every queue of the broker')
            [CompletionResult]::new('workers', 'workers', [CompletionResultType]::ParameterValue, 'Show which workers live and what they do')
            [CompletionResult]::new('dead', 'dead', [CompletionResultType]::ParameterValue, 'Jobs that have failed for good')
            break
        }
        'vmctl;help;admin;queues' {
            break
        }
        'vmctl;help;admin;workers' {
            break
        }
        'vmctl;help;admin;dead' {
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List them, newest first')
            [CompletionResult]::new('replay', 'replay', [CompletionResultType]::ParameterValue, 'Run them again, for the users that have asked for them')
            break
        }
        'vmctl;help;admin;dead;list' {
            break
        }
        'vmctl;help;admin;dead;replay' {
            break
        }
        'vmctl;help;completion' {
            break
        }
        'vmctl;help;version' {
            break
        }
        'vmctl;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}

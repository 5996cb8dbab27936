// This file is `gateway completion`: scripts with which shells complete the command line.

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// completions are the scripts by shell.
var completions = map[string]func([]subcommand) string{
	"bash": bashCompletion,
	"zsh":  zshCompletion,
	"fish": fishCompletion,
}

// shells are the names of completions.
var shells = []string{"bash", "zsh", "fish"}

// completion prints the script for a shell.
func completion(args []string, stdout, stderr io.Writer) int {
	if len(args) != 1 || completions[args[0]] == nil {
		fmt.Fprintf(stderr, "gateway completion: name one of the shells %s\n", strings.Join(shells, ", "))
		return exitUsage
	}
	io.WriteString(stdout, completions[args[0]](describe()))
	return exitOK
}

// valueFlags returns the flags of all subcommands that take something, each once.
func valueFlags(all []subcommand) (flags []cliFlag) {
	for _, c := range all {
		for _, f := range c.flags {
			if f.value != "" && !slices.ContainsFunc(flags, func(have cliFlag) bool { return have.name == f.name }) {
				flags = append(flags, f)
			}
		}
	}
	return flags
}

// dashed returns the flags as they are written, with something between them.
func dashed(flags []cliFlag, between string) string {
	names := make([]string, len(flags))
	for i, f := range flags {
		names[i] = "-" + f.name
	}
	return strings.Join(names, between)
}

// commandNames returns the names of the subcommands, with something between them.
func commandNames(all []subcommand, between string) string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.name
	}
	return strings.Join(names, between)
}

func bashCompletion(all []subcommand) string {
	var b strings.Builder
	b.WriteString("# Completes gateway in bash.\n_gateway() {\n" +
		"    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= words= i\n" +
		"    for ((i = 1; i < COMP_CWORD; i++)); do\n        case ${COMP_WORDS[i]} in\n")
	fmt.Fprintf(&b, "        %s) ((i++)) ;;\n", dashed(valueFlags(all), "|"))
	fmt.Fprintf(&b, "        %s) command=${COMP_WORDS[i]}; break ;;\n        esac\n    done\n    case $prev in\n", commandNames(all, "|"))
	for _, f := range valueFlags(all) {
		switch {
		case f.file():
			fmt.Fprintf(&b, "    -%s) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n", f.name)
		default:
			fmt.Fprintf(&b, "    -%s) mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\"); return ;;\n", f.name, strings.Join(f.names, " "))
		}
	}
	b.WriteString("    esac\n    case $command in\n")
	for _, c := range all {
		name, words := c.name, append([]string{}, c.words...)
		if name == "run" {
			name, words = "''", append(words, commandNames(all, " "))
			fmt.Fprintf(&b, "    run) words='%s' ;;\n", dashed(c.flags, " "))
		}
		for _, f := range c.flags {
			words = append(words, "-"+f.name)
		}
		fmt.Fprintf(&b, "    %s) words='%s' ;;\n", name, strings.Join(words, " "))
	}
	b.WriteString("    esac\n    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n}\ncomplete -F _gateway gateway\n")
	return b.String()
}

func zshCompletion(all []subcommand) string {
	var b strings.Builder
	b.WriteString("#compdef gateway\n# Completes gateway in zsh.\n_gateway() {\n    local command i\n    local -a names flags\n" +
		"    for ((i = 2; i < CURRENT; i++)); do\n        case $words[i] in\n")
	fmt.Fprintf(&b, "        (%s) ((i++)) ;;\n", dashed(valueFlags(all), "|"))
	fmt.Fprintf(&b, "        (%s) command=$words[i]; break ;;\n        esac\n    done\n    case $words[CURRENT-1] in\n", commandNames(all, "|"))
	for _, f := range valueFlags(all) {
		do := "compadd -- " + strings.Join(f.names, " ") + "; "
		switch {
		case f.file():
			do = "_files; "
		case f.names == nil:
			do = ""
		}
		fmt.Fprintf(&b, "    (-%s) %sreturn ;;\n", f.name, do)
	}
	b.WriteString("    esac\n    case $command in\n")
	for _, c := range all {
		name, names, flags := c.name, "", ""
		for _, word := range c.words {
			names += " " + word
		}
		for _, f := range c.flags {
			flags += " " + zshItem("-"+f.name, f.doc)
		}
		if name == "run" {
			fmt.Fprintf(&b, "    (run) flags=(%s ) ;;\n", flags)
			name = "''"
			for _, c := range all {
				names += " " + zshItem(c.name, c.short)
			}
		}
		fmt.Fprintf(&b, "    (%s) names=(%s ) flags=(%s ) ;;\n", name, names, flags)
	}
	b.WriteString("    esac\n    (($#names)) && _describe command names\n    (($#flags)) && _describe -o flag flags\n}\n" +
		"if [ \"$funcstack[1]\" = _gateway ]; then _gateway \"$@\"; else compdef _gateway gateway; fi\n")
	return b.String()
}

// zshItem is a word with what it is, as _describe has it.
func zshItem(word, doc string) string {
	if doc != "" {
		word += ":" + doc
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func fishCompletion(all []subcommand) string {
	var b strings.Builder
	b.WriteString("# Completes gateway in fish.\ncomplete -c gateway -f\nfunction __gateway_command\n    set -l value no\n    for word in (commandline -opc)\n" +
		"        if test $value = yes\n            set value no\n            continue\n        end\n        switch $word\n")
	fmt.Fprintf(&b, "            case %s\n                set value yes\n", dashed(valueFlags(all), " "))
	fmt.Fprintf(&b, "            case %s\n                echo $word\n                return\n        end\n    end\n    echo none\nend\n", commandNames(all, " "))
	for _, c := range all {
		fmt.Fprintf(&b, "complete -c gateway -n 'test (__gateway_command) = none' -a %s%s\n", c.name, fishDoc(c.short))
	}
	for _, c := range all {
		when := "'test (__gateway_command) = " + c.name + "'"
		if c.name == "run" {
			when = "'contains (__gateway_command) run none'"
		}
		if len(c.words) > 0 {
			fmt.Fprintf(&b, "complete -c gateway -n %s -a '%s'\n", when, strings.Join(c.words, " "))
		}
		for _, f := range c.flags {
			takes := ""
			switch {
			case f.file():
				takes = " -r -F"
			case f.names != nil:
				takes = " -x -a '" + strings.Join(f.names, " ") + "'"
			case f.value != "":
				takes = " -x"
			}
			fmt.Fprintf(&b, "complete -c gateway -n %s -o %s%s%s\n", when, f.name, takes, fishDoc(f.doc))
		}
	}
	return b.String()
}

// fishDoc is what a completion is, as an argument of complete.
func fishDoc(doc string) string {
	if doc == "" {
		return ""
	}
	return " -d '" + strings.ReplaceAll(strings.ReplaceAll(doc, `\`, `\\`), "'", `\'`) + "'"
}

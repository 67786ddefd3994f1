/* What completion of ppctl knows beyond its options: second words, keys and applications. */
#include "ppctl.h"

/*
 * Added to what the option table gives. The store is asked while somebody waits at a prompt: not
 * for long.
 */
const char ppctl_completion_bash[] =
	"_ppctl_more() {\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
	"\tlocal option=$prev\n"
	"\t[ \"$cur\" != = ] || cur=\n"
	"\t[ \"$prev\" != = ] || option=${COMP_WORDS[COMP_CWORD-2]}\n"
	"\tif [[ $option =~ ^--?world$ ]]; then\n"
	"\t\twords=$(ls worlds/*.yaml */worlds/*.yaml 2>/dev/null | sed 's,.*/,,; s/[.]yaml$//'\n"
	"\t\t\ttimeout 2 ppctl ls worlds 2>/dev/null | cut -d/ -f2)\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\" | sort -u)\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tcur=${COMP_WORDS[COMP_CWORD]}\n"
	"\tif [ \"$COMP_CWORD\" -lt 2 ] || [[ $cur == -* || $cur == = || $prev == -* || $prev == = ]]; then\n"
	"\t\t_ppctl\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tcase ${COMP_WORDS[1]} in\n"
	"\tlock) [ \"$COMP_CWORD\" = 2 ] && words='ls break' || words=$(timeout 2 ppctl ls locks 2>/dev/null);;\n"
	"\tnode) [ \"$COMP_CWORD\" = 2 ] && words='add rm';;\n"
	"\thelp) words=$(ppctl help | sed -n 's/^  \\([a-z]*\\).*/\\1/p');;\n"
	"\tget|put|edit|rm|ls|watch|export) words=$(timeout 2 ppctl ls 2>/dev/null);;\n"
	"\trollout) [ \"$COMP_CWORD\" = 2 ] && words=\"retry $(timeout 2 ppctl ls clusters 2>/dev/null | cut -d/ -f2)\"\n"
	"\t\t[ \"$COMP_CWORD\" = 3 ] && words=$(timeout 2 ppctl ls clusters 2>/dev/null | cut -d/ -f2);;\n"
	"\tstatus|prep|unprep|activate|deactivate|rollback|hold|unhold)\n"
	"\t\t[ \"$COMP_CWORD\" = 2 ] && words=$(timeout 2 ppctl ls clusters 2>/dev/null | cut -d/ -f2);;\n"
	"\tcompile|diff|apply|deploy|validate)\n"
	"\t\twords=$(sed -n '/^applications:/,/^[^ #]/s/^  *\\([A-Za-z0-9_.-]*\\):$/\\1/p' sysdef.yaml */sysdef.yaml 2>/dev/null |\n"
	"\t\t\tgrep -vxE 'services|provides');;\n"
	"\tfmt) compopt -o filenames; words=$(compgen -f -- \"$cur\");;\n"
	"\timport|init) compopt -o filenames; words=$(compgen -f -- \"$cur\");;\n"
	"\tesac\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\" | sort -u)\n"
	"}\n"
	"complete -F _ppctl_more ppctl pib-local\n";

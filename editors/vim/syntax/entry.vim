" Vim syntax file: entryc spec. made from grammar/ by entryc: change the grammar, then run tests/test_editors.py --update
if exists("b:current_syntax")
  finish
endif

syntax match entryOperator /->\|\.\.\|[=!<>]=\|[-+&|^~<>=]/
syntax match entryNumber /\<\%(0x[0-9A-Fa-f_]\+\|[0-9][0-9_]*\)\>/
syntax match entryConstant /\<[A-Z][A-Z0-9_]\+\>/
syntax match entryName /\<[A-Za-z_][A-Za-z0-9_]*\%(\.[A-Za-z_][A-Za-z0-9_]*\)\+/ contains=entryConstant
syntax match entryWord /\v[.]@1<!<%(address|alias|align|all|alone|among|args|arrive|as|at|bottom|but)>%(\s*%(\=|[.]))@!/
syntax match entryWord /\v[.]@1<!<%(by|c|called|changes|clear|clears|clobbers|decides|decision|each|enter|entered)>%(\s*%(\=|[.]))@!/
syntax match entryWord /\v[.]@1<!<%(error_code|except|fault|first|fixup|from|given|gprs|hardware|holds|in|irqs)>%(\s*%(\=|[.]))@!/
syntax match entryWord /\v[.]@1<!<%(is|keeping|keeps|kernel|leave|loads|loses|means|method|missing|needs|number)>%(\s*%(\=|[.]))@!/
syntax match entryWord /\v[.]@1<!<%(of|off|on|once|origin|paranoid|preset|promises|raised|read|refusal|refusing)>%(\s*%(\=|[.]))@!/
syntax match entryWord /\v[.]@1<!<%(repeat|result|returns|sets|setting|size|stack|takes|to|top|user|using)>%(\s*%(\=|[.]))@!/
syntax match entryWord /\v[.]@1<!<%(where|within|writes)>%(\s*%(\=|[.]))@!/
syntax match entryType /\v[.]@1<!<%(bool|s16|s32|s64|s8|u16|u32|u64|u8)>%(\s*%(\=|[.]))@!/
syntax match entryCondition /\v[.]@1<!<%(and|because|else|if|not|or|when)>%(\s*%(\=|[.]))@!/
syntax match entryStep /\v%(^\s+|[;{]\s*)\zs<%(adopt|assert|call|choose|clear|decide|dispatch|do|drop|enter|exit|from)>%(\s*%(\=|[.]))@!/
syntax match entryStep /\v%(^\s+|[;{]\s*)\zs<%(goto|insn|irqs|jump|label|leave|let|reframe|require|restore|return|room)>%(\s*%(\=|[.]))@!/
syntax match entryStep /\v%(^\s+|[;{]\s*)\zs<%(save|stack|syscalls|through|work)>%(\s*%(\=|[.]))@!/
syntax match entryItem /\v%(^|;\s*)\zs<%(after|arch|assume|boundary|bracket|choose|code|configuration|const|decisions|entry|exit)>%(\s*%(\=|[.]))@!/
syntax match entryItem /\v%(^|;\s*)\zs<%(feature|flags|frame|handler|hook|kind|landing|language|license|memory|method|op)>%(\s*%(\=|[.]))@!/
syntax match entryItem /\v%(^|;\s*)\zs<%(path|region|routine|setup|shadow_stacks|stack|state|symbol|syscalls|target|use|vectors)>%(\s*%(\=|[.]))@!/
syntax match entryItem /\v%(^|;\s*)\zs<%(version|window|work)>%(\s*%(\=|[.]))@!/
syntax match entryItem /\v%(^\s+|\{\s*)\zs<%(after|arch|assume|boundary|bracket|code|configuration|const|decisions|entry|feature|flags)>%(\s*%(\=|[.:]))@!/
syntax match entryItem /\v%(^\s+|\{\s*)\zs<%(frame|handler|hook|kind|landing|language|license|memory|op|path|region|routine)>%(\s*%(\=|[.:]))@!/
syntax match entryItem /\v%(^\s+|\{\s*)\zs<%(setup|shadow_stacks|state|symbol|target|use|vectors|version|window)>%(\s*%(\=|[.:]))@!/
syntax region entryText start=/"/ end=/"/ oneline
syntax match entryComment /#.*/ contains=@Spell,entryTodo
syntax keyword entryTodo TODO FIXME XXX contained
syntax sync minlines=200

highlight default link entryComment Comment
highlight default link entryTodo Todo
highlight default link entryText String
highlight default link entryNumber Number
highlight default link entryConstant Constant
highlight default link entryOperator Operator
highlight default link entryName Identifier
highlight default link entryWord Keyword
highlight default link entryType Type
highlight default link entryCondition Conditional
highlight default link entryStep Statement
highlight default link entryItem Structure

let b:current_syntax = "entry"

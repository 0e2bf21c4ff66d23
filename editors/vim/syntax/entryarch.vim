" Vim syntax file: entryc CPU description. made from grammar/ by entryc: change the grammar, then run tests/test_editors.py --update
if exists("b:current_syntax")
  finish
endif

syntax match entryarchOperator /->\|\.\.\|[=!<>]=\|[-+&|^~<>=]/
syntax match entryarchNumber /\<\%(0x[0-9A-Fa-f_]\+\|[0-9][0-9_]*\)\>/
syntax match entryarchConstant /\<[A-Z][A-Z0-9_]\+\>/
syntax match entryarchName /\<[A-Za-z_][A-Za-z0-9_]*\%(\.[A-Za-z_][A-Za-z0-9_]*\)\+/ contains=entryarchConstant
syntax match entryarchWord /\v[.]@1<!<%(align|any|anywhere|at|augments|bit|control|decodes|defines|error|extern|found)>%(\s*%(\=|[.]))@!/
syntax match entryarchWord /\v[.]@1<!<%(from|in|indexed|kernel|lost|low|number|off|on|pop|push|raises)>%(\s*%(\=|[.]))@!/
syntax match entryarchWord /\v[.]@1<!<%(reads|requires|size|stack|stop|swap|to|user|words)>%(\s*%(\=|[.]))@!/
syntax match entryarchType /\v[.]@1<!<%(s16|s32|s64|s8|u16|u32|u64|u8)>%(\s*%(\=|[.]))@!/
syntax match entryarchCondition /\v[.]@1<!<%(and|not|or|when)>%(\s*%(\=|[.]))@!/
syntax match entryarchItem /\v%(^|;\s*)\zs<%(abi|arch|event|form|hwstack|irqs|link|origin|padding|patching|plain|program)>%(\s*%(\=|[.]))@!/
syntax match entryarchItem /\v%(^|;\s*)\zs<%(register|relocation|return|sequence|setup|struct|tools|word)>%(\s*%(\=|[.]))@!/
syntax region entryarchText start=/"/ end=/"/ oneline
syntax match entryarchComment /#.*/ contains=@Spell,entryarchTodo
syntax keyword entryarchTodo TODO FIXME XXX contained
syntax sync minlines=200

highlight default link entryarchComment Comment
highlight default link entryarchTodo Todo
highlight default link entryarchText String
highlight default link entryarchNumber Number
highlight default link entryarchConstant Constant
highlight default link entryarchOperator Operator
highlight default link entryarchName Identifier
highlight default link entryarchWord Keyword
highlight default link entryarchType Type
highlight default link entryarchCondition Conditional
highlight default link entryarchStep Statement
highlight default link entryarchItem Structure

let b:current_syntax = "entryarch"

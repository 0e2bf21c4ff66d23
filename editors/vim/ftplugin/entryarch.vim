" Vim settings: entryc CPU description. made from grammar/ by entryc: change the grammar, then run tests/test_editors.py --update
if exists("b:did_ftplugin")
  finish
endif
let b:did_ftplugin = 1
setlocal commentstring=#\ %s comments=:# shiftwidth=4 softtabstop=4 expandtab
let b:undo_ftplugin = "setlocal cms< com< sw< sts< et<"

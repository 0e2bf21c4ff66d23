" Vim file types of entryc. made from grammar/ by entryc: change the grammar, then run tests/test_editors.py --update
autocmd BufNewFile,BufRead *.entry setfiletype entry
autocmd BufNewFile,BufRead *.arch setfiletype entryarch

// Starts `entryc lsp` and leaves the rest to it.
"use strict";

const { workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

exports.activate = () => {
    const command = workspace.getConfiguration("entryc").get("command") || "entryc";
    client = new LanguageClient("entryc", "entryc", { command, args: ["lsp"] },
        { documentSelector: [{ language: "entry" }, { language: "entryarch" }] });
    return client.start();
};

exports.deactivate = () => (client ? client.stop() : undefined);

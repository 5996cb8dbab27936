// This file decodes the file that it is named, with the MessagePack library that it is
// named, and prints what it finds as JSON.
//
// node decode.mjs <@msgpack/msgpack|notepack.io> <file>

import { readFileSync } from 'node:fs';

const [library, file] = process.argv.slice(2);
const { default: main, decode = main.decode } = await import(library);
console.log(JSON.stringify(decode(readFileSync(file))));

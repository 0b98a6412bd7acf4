// Goes on one journey: node run.js FILE NAME
const [file, name] = process.argv.slice(2)
const journeys = await import(new URL(`./journeys/${file}.js`, import.meta.url))
await journeys[name]()
process.exit(0) // the client may have left a timer

import type { Random } from '../../protocol/fixtures/memory-link.js';

interface JsonMaterial {
  random: Random;
  words: readonly string[];
}

type Holder = Record<string | number, unknown>;

/** Values that are rarely what was expected. */
const ODD_VALUES: readonly unknown[] = [
  ...[null, true, false, 0, -1, 1, 80, 65_535, 65_536, 1.5, 2 ** 53, 1e308, '', '0', ' ', '\0', '\u{1f600}'],
  ...[
    [],
    {},
    [[]],
    [{}],
    [null],
    { __proto__: 1 },
    '127.0.0.1',
    '::1',
    'fe80::1',
    '/a',
    '../a',
    'x'.repeat(300),
    // What every object has, if it is not asked for what is its own.
    '__proto__',
    'constructor',
  ],
];

/** Changes one value in JSON; of text before it that is none, up to a line break, nothing. @returns undefined when it is no JSON */
export function mutateJson(input: Buffer, { random, words }: JsonMaterial): Buffer | undefined {
  const text = input.toString('utf8');
  const start = /^(?:[^{["]*\n)?(?=[{["])/.exec(text)?.[0].length ?? 0;
  let root: { value: unknown };
  try {
    root = { value: JSON.parse(text.slice(start)) };
  } catch {
    return undefined;
  }
  const places = placesIn(root);
  const [holder, key] = places[Math.floor(random() * places.length)] as [Holder, string | number];
  const odd = (): unknown =>
    random() < 0.3 && words.length > 0
      ? words[Math.floor(random() * words.length)]
      : ODD_VALUES[Math.floor(random() * ODD_VALUES.length)];
  const [other, otherKey] = places[Math.floor(random() * places.length)] as [Holder, string | number];
  const choice = random();
  if (choice < 0.5) holder[key] = odd();
  else if (choice < 0.65) holder[key] = structuredClone(other[otherKey]);
  else if (choice < 0.8) addTo(holder[key], odd(), words[Math.floor(random() * words.length)] ?? 'x');
  else if (Array.isArray(holder)) holder.splice(Number(key), 1);
  else if (holder !== (root as Holder)) delete holder[key];
  return Buffer.from(text.slice(0, start) + JSON.stringify(root.value));
}

function addTo(holder: unknown, value: unknown, key: string): void {
  if (Array.isArray(holder)) holder.push(value);
  else if (typeof holder === 'object' && holder !== null) (holder as Holder)[key] = value;
}

/** Every place at which there is a value. */
function placesIn(root: object): [Holder, string | number][] {
  const places: [Holder, string | number][] = [];
  const holders: object[] = [root];
  for (let holder = holders.pop(); holder; holder = holders.pop())
    for (const [key, value] of Object.entries(holder)) {
      places.push([holder as Holder, key]);
      if (typeof value === 'object' && value !== null) holders.push(value);
    }
  return places;
}

type Child = Node | string;

/** Makes an element. Text becomes text nodes: nothing that comes from elsewhere is ever read as markup. */
export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

/** The element of the page that has this id. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const found = document.getElementById(id);
  if (found) return found as E;
  throw new Error(`the page has no #${id}`);
}

/** Sets the text, if it is another one: what does not change is not laid out, nor read out, again. */
export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node: Element, name: string, value: string): void {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Makes `parent` have these children in this order, and moves none that is where it belongs: it would lose the focus. */
export function setChildren(parent: Element, children: readonly Element[]): void {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const child of children) {
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
}

/** Lets what scrolls be scrolled by keys, and says what it is to who does not see it. */
export function scrollByKeys(id: string, name: string): void {
  const area = byId(id);
  setAttribute(area, 'role', 'group');
  setAttribute(area, 'tabindex', '0');
  setAttribute(area, 'aria-label', name);
}

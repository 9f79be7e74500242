/** Making and changing parts of the page. */

export function byId(id: string): HTMLElement {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no #${id}`)
  return found
}

type Content = string | Node | readonly (string | Node)[]

/** `attributes` with an empty name are left out. */
export function make(tag: string, attributes: Readonly<Record<string, string>>, content: Content = ''): HTMLElement {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  if (typeof content === 'string' || content instanceof Node) element.append(content)
  else element.append(...content)
  return element
}

/** Only where it changed: what somebody is selecting or reading out is not torn away each second. */
export function setText(element: Element, text: string): void { if (element.textContent !== text) element.textContent = text }

/** Replaces children whose markup changed, and leaves the others alone. */
export function setChildren(parent: Element, children: readonly HTMLElement[]): void {
  for (const [i, child] of children.entries()) {
    const there = parent.children[i]
    if (there === undefined) parent.append(child)
    else if (there.outerHTML !== child.outerHTML) there.replaceWith(child)
  }
  while (parent.children.length > children.length) parent.lastElementChild!.remove()
}

/**
 * Assertions stay on in production: a wrong state that stops is a liveness bug, one that goes on is lost data.
 */
export class AssertionFailure extends Error {
  constructor(message: string) {
    super(`internal invariant broken: ${message}`)
    this.name = 'AssertionFailure'
  }
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message)
}

export function unreachable(value: never, where: string): never {
  throw new AssertionFailure(`${where}: unexpected ${JSON.stringify(value)}`)
}

/** What `holdfast blk --print-capabilities` says, in the terms of QEMU's back end program conventions. */
export const CAPABILITIES = { type: 'block', features: ['read-only', 'blk-file'] } as const

/** An integer network of quarantion, read from its file. Numbers are those of Python, to the bit. */
export interface Layer {
    neurons: number
    channels: number
    /** Of its neurons: [c], [c, l] or [c, h, w] */
    shape: number[]
    reset: 'subtract' | 'subtract_delayed' | 'zero' | 'none'
    /** Weights of one channel */
    inputs: number
    /** Weights of all channels, and those of spikes that come back */
    synapses: number
}

export interface Network {
    /** Codes of one step */
    inputs: number
    /** Steps that it was made for, and how many are proved to stay within 32 bits */
    steps: number
    mostSteps: number
    /** Smallest and largest code, and what a code of 1 is worth */
    lo: number
    hi: number
    worth: number
    /** Numbers in an answer: one for a class, else one for each output */
    answers: number
    decision: string
    inShape: number[]
    layers: Layer[]
    /** To rest, before the first step of a sample */
    start(): void
    /** One step; null: the same codes again. RangeError or TypeError where codes are not what they may be */
    step(codes?: ArrayLike<number> | null): void
    /** Of layer l, [neurons], in the network's own memory: copy what is to be kept */
    spikes(l: number): Uint8Array
    membranes(l: number): Int32Array
    /** A class, yes or no for each output (of the mean so far), or membranes; null before the first step */
    decide(): Int32Array | null
    /** From rest: codes of one step, which stay, or of all steps one after the other */
    classify(codes: ArrayLike<number>, steps?: number): Int32Array
    /** [channels], in the network's own memory. What is written holds from the next start on; ranges are not proved again */
    theta(l: number): Int32Array
    bias(l: number): Int32Array
    /** In 1/65536 */
    leak(l: number): Int32Array
    /** [inputs][channels]: that of input j to channel c is at j * channels + c */
    weights(l: number): Int8Array
    /** Those of spikes that come back, one for each or in the same order; null: none */
    recurrent(l: number): Int8Array | null
}

/** Read a file that `IntegerNetwork.save` wrote; RangeError in one line for any other, and for more memory than `most` bytes (64 MiB) */
export function load(file: Uint8Array | ArrayBuffer, most?: number): Promise<Network>

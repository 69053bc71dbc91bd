/** What runs beside the page's audio: it hands on the samples of the microphone in blocks. */

const BLOCK = 1024; // samples, about 20 ms

declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

class Samples extends AudioWorkletProcessor {
  #block = new Float32Array(BLOCK);
  #filled = 0;

  process([[channel]]: Float32Array[][]): boolean {
    for (let at = 0; at < (channel?.length ?? 0); ) {
      const part = channel.subarray(at, at + BLOCK - this.#filled);
      this.#block.set(part, this.#filled);
      at += part.length;
      this.#filled += part.length;
      if (this.#filled === BLOCK) this.#send();
    }
    return true;
  }

  #send(): void {
    this.port.postMessage(this.#block, [this.#block.buffer]);
    this.#block = new Float32Array(BLOCK);
    this.#filled = 0;
  }
}

registerProcessor("samples", Samples);

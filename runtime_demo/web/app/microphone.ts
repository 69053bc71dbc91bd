/** The microphone of the device, and sound files that the browser decodes. */

const DECODED = 48_000; // samples per second to which the browser decodes files
const SOUND = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** Why there is no sound, as a sentence for the user. */
export class Silent extends Error {}

/** A microphone that is heard until it is closed. */
export class Microphone {
  readonly #stream: MediaStream;
  readonly #context: AudioContext;

  private constructor(stream: MediaStream, context: AudioContext) {
    [this.#stream, this.#context] = [stream, context];
  }

  /**
   * Opens the microphone, for which the browser asks its user. code: the address of the worklet. heard: takes samples of
   * one channel, from -1 to 1. ended: is called if the microphone goes away. Throws Silent.
   */
  static async open(code: string, heard: (samples: Float32Array) => void, ended: () => void): Promise<Microphone> {
    const stream = await recorded();
    const context = new AudioContext();
    const microphone = new Microphone(stream, context);
    try {
      await context.audioWorklet.addModule(code);
      await context.resume();
      const taken = new AudioWorkletNode(context, "samples", { channelCount: 1, channelCountMode: "explicit" });
      taken.port.onmessage = ({ data }: MessageEvent<Float32Array>) => heard(data);
      context.createMediaStreamSource(stream).connect(taken).connect(context.destination); // as silence, so that it runs
      for (const track of stream.getTracks()) track.addEventListener("ended", ended);
    } catch (error) {
      microphone.close();
      throw new Silent(`The microphone cannot be heard in this browser: ${(error as Error).message}`);
    }
    return microphone;
  }

  /** Samples per second. */
  get rate(): number {
    return this.#context.sampleRate;
  }

  close(): void {
    for (const track of this.#stream.getTracks()) track.stop();
    void this.#context.close();
  }
}

/** The samples of each channel of a sound file, in any format that the browser knows. Throws Silent. */
export async function decoded(file: ArrayBuffer): Promise<{ channels: Float32Array<ArrayBuffer>[]; rate: number }> {
  try {
    const sound = await new OfflineAudioContext(1, 1, DECODED).decodeAudioData(file); // which workers do not have
    const channels = Array.from({ length: sound.numberOfChannels }, (_, channel) => sound.getChannelData(channel).slice());
    return { channels, rate: sound.sampleRate };
  } catch {
    throw new Silent("This file is not a sound that the browser can open.");
  }
}

async function recorded(): Promise<MediaStream> {
  if (!isSecureContext) throw new Silent("The microphone needs https: open the page at an https address. Sound files can be opened here too.");
  if (!navigator.mediaDevices) throw new Silent("This browser does not let pages use the microphone. Sound files can be opened here too.");
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: SOUND });
  } catch (error) {
    throw new Silent(refusal(error as DOMException));
  }
}

function refusal({ name, message }: DOMException): string {
  switch (name) {
    case "NotAllowedError":
      return "The page may not use the microphone: allow it in the browser's settings of this page, and press Listen again.";
    case "NotFoundError":
      return "This device has no microphone: connect one, and press Listen again. Sound files can be opened here too.";
    case "NotReadableError":
      return "The microphone cannot be opened: close the programs that use it, and press Listen again.";
    default:
      return `The microphone cannot be opened: ${message}`;
  }
}

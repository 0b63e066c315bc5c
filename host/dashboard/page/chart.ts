import uPlot from 'uplot';
import { SAMPLES } from './rates.js';
import { rateInWords } from './words.js';

/** Seconds before now. */
const TIMES = Array.from({ length: SAMPLES }, (_, index) => index - SAMPLES + 1);

const SPARKLINE = { width: 120, height: 28 };
const CHART_HEIGHT = 140;

/** With less (bytes a second) at the top of the scale, a few bytes would look like a flood. */
const LEAST_TOP = 1024;

export interface History {
  toGuest: number[];
  toHost: number[];
}

/** What a forward has carried in the last minute. */
export class Chart {
  readonly element: HTMLElement;
  readonly #large: boolean;
  #plot: uPlot | undefined;
  #drawn = '';

  /** @param large with axes, as wide as its place; else small enough for a line of a table */
  constructor(element: HTMLElement, large: boolean) {
    this.element = element;
    this.#large = large;
  }

  draw({ toGuest, toHost }: History): void {
    const drawn = `${toGuest.join()} ${toHost.join()}`;
    if (this.#plot && drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#plot ??= new uPlot(this.#options(), [TIMES, toGuest, toHost], this.element);
    const width = this.#large ? this.element.clientWidth : SPARKLINE.width;
    if (width !== this.#plot.width && width > 0) this.#plot.setSize({ width, height: this.#plot.height });
    this.#plot.setData([TIMES, toGuest, toHost]);
  }

  /** Colours have changed, or it is not to be seen any more. */
  remove(): void {
    this.#plot?.destroy();
    this.#plot = undefined;
  }

  #options(): uPlot.Options {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string): string => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour('--muted'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
    };
    const line = (label: string, name: string): uPlot.Series => ({
      label,
      stroke: colour(name),
      width: this.#large ? 2 : 1.5,
      points: { show: false },
    });
    return {
      ...(this.#large ? { width: this.element.clientWidth || 400, height: CHART_HEIGHT } : SPARKLINE),
      ...(this.#large ? {} : { padding: [2, 0, 2, 0] as [number, number, number, number] }),
      legend: { show: false },
      cursor: { show: false },
      select: { show: false, left: 0, top: 0, width: 0, height: 0 },
      scales: { x: { time: false }, y: { range: (_plot, _min, max) => [0, Math.max(max, LEAST_TOP)] } },
      axes: this.#large
        ? [
            { ...axis, values: (_plot, seconds) => seconds.map((at) => `${at} s`) },
            { ...axis, size: 90, values: (_plot, rates) => rates.map((rate) => rateInWords(rate)) },
          ]
        : [{ show: false }, { show: false }],
      series: [{}, line('to the guest', '--to-guest'), line('to the host', '--to-host')],
    };
  }
}

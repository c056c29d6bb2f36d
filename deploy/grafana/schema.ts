// What a dashboard file has to be, by Grafana's own schema (@grafana/grafana-foundation-sdk, which Grafana Labs generates from it).
// scripts/test puts larder.json in place of `dashboard` below and lets the TypeScript compiler read it, which refuses what is missing,
// of another type, or unknown. The schema leaves a panel's options open; here they are those of the panel's own kind.
import type { Dashboard, FieldConfig, FieldConfigSource, Panel, RowPanel } from '@grafana/grafana-foundation-sdk/dashboard';
import type { Dataquery } from '@grafana/grafana-foundation-sdk/prometheus';
import type { Options as Stat } from '@grafana/grafana-foundation-sdk/stat';
import type { FieldConfig as Drawn, Options as TimeSeries } from '@grafana/grafana-foundation-sdk/timeseries';

/** A type as JSON has it: the words of an enumeration, no functions. */
type Json<T> = T extends string ? `${T}`
  : T extends (infer Each)[] ? Json<Each>[]
  : T extends object ? { [Key in keyof T as T[Key] extends () => void ? never : Key]: Json<T[Key]> }
  : T;

/** Panels are completed with Grafana's defaults. */
type Part<T> = T extends unknown[] ? T : T extends object ? { [Key in keyof T]?: Part<T[Key]> } : T;

type Of<Type, Options, Custom> = Json<Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'>> & {
  type: Type;
  options?: Part<Json<Options>>;
  targets: (Json<Dataquery> & { refId: string })[];
  fieldConfig: Json<Omit<FieldConfigSource, 'defaults'>> & {
    defaults: Json<Omit<FieldConfig, 'custom'>> & { custom?: Part<Json<Custom>> };
  };
};

type Row = Json<Omit<RowPanel, 'type'>> & { type: 'row' };

type Larder = Json<Omit<Dashboard, 'panels'>> & {
  panels: (Row | Of<'stat', Stat, never> | Of<'timeseries', TimeSeries, Drawn>)[];
};

const dashboard: Larder = 'larder.json';
export default dashboard;

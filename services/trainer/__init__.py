"""The trainer: runs, their queue, the process that trains, and the models published from them.

The service (`python -m services.trainer`) keeps runs and starts one child process at a time
(`python -m services.trainer.training`). Only the child loads TensorFlow's model and writes a run's weights.

    run_settings.py  what a run is asked to do; presets.py what it is where nothing was said
    sources.py       what it starts from, as a word; beginning.py finds that; bases.py base/; foreign.py other programs'
    starting.py      what must be true before it begins
    planning.py      what it would do; memory.py, machine.py what it needs and what there is; trying.py tries steps
    runs.py          the runs, in run.json; queue_order.py who goes first; environment.py where one trains
    supervisor.py    trains them one at a time; child.py one process, outcome.py and oom.py how it ended
    restarting.py    what follows then; adjusting.py what is different afterwards
    checkpoints.py   a run's checkpoints on the volume; samples.py its samples
    metrics_log.py   its numbers; events.py its history, watching.py that as it grows; gauges.py for Prometheus
    publishing.py    models and their versions; auto_publishing.py by itself
    servicer.py      the rpcs; messages.py the protos; service.py puts all together
    volume.py        where things are; patient_file.py a file that outlives a full disk
    fetching/        base models by name; training/ the child
"""

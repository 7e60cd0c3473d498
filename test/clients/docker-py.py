"""Debian's docker-py, unmodified, against the engine of DOCKER_HOST. Each function is a test; its docstring is the title.

    docker-py.py list                  the titles, a line each
    docker-py.py run TITLE             runs one
"""
import gzip
import io
import json
import os
import sys
import tarfile
import tempfile

import docker
from docker.types import EndpointConfig, IPAMConfig, IPAMPool, Healthcheck, LogConfig, Mount, Ulimit

BUSYBOX = 'busybox:test'
client = None if sys.argv[1] == 'list' else docker.from_env(timeout=60)
api = client and client.api
tests = {}


def test(function):
    tests[function.__doc__] = function
    return function


def same(actual, wanted):
    assert actual == wanted, f'{actual!r} is not {wanted!r}'


def raises(kind, function, text):
    try:
        function()
    except kind as error:
        assert text in str(error), f'{error} says nothing of {text!r}'
        return error
    raise AssertionError(f'no {kind.__name__}')


def idle(**options):
    return client.containers.run(BUSYBOX, ['sleep', '1000'], detach=True, init=True, **options)


@test
def versions():
    """version negotiation, ping, version, info and df"""
    assert client.ping()
    for version in ('auto', '1.24', '1.35', '1.41', docker.constants.DEFAULT_DOCKER_API_VERSION):
        pinned = docker.from_env(version=version)
        assert pinned.ping()
        same(pinned.version()['ApiVersion'], '1.51')
        assert isinstance(pinned.containers.list(all=True), list)
        assert isinstance(pinned.networks.list(), list)
        assert isinstance(pinned.images.list(), list)
        pinned.close()
    info = client.info()
    same(info['OSType'], 'linux')
    assert info['NCPU'] > 0 and info['MemTotal'] > 0
    assert {'BuildCache', 'Containers', 'Images', 'LayersSize', 'Volumes'} <= set(client.df())


@test
def run():
    """containers.run: output, both streams, a failing command, a missing image, removal"""
    same(client.containers.run(BUSYBOX, 'echo hello', remove=True), b'hello\n')
    same(client.containers.run(BUSYBOX, ['sh', '-c', 'echo one; echo two >&2'], stderr=True, stdout=False, remove=True), b'two\n')
    error = raises(
        docker.errors.ContainerError, lambda: client.containers.run(BUSYBOX, ['sh', '-c', 'echo no >&2; exit 3'], remove=True), 'exit status 3'
    )
    same(error.stderr, b'no\n')
    raises(docker.errors.NotFound, lambda: client.containers.get('nobody'), 'No such container: nobody')
    raises(docker.errors.APIError, lambda: client.containers.run(BUSYBOX, ['/absent'], name='absent'), 'no such file or directory')
    client.containers.get('absent').remove()
    same(client.containers.list(all=True), [])


@test
def pinned_run():
    """a client pinned to API 1.24 runs, inspects, lists, networks and removes"""
    old = docker.from_env(version='1.24')
    same(old.containers.run(BUSYBOX, 'echo old', remove=True), b'old\n')
    container = old.containers.run(BUSYBOX, 'sleep 1000', detach=True, name='old', ports={'80/tcp': ('127.0.0.1', 12480)}, mem_limit='64m')
    same(container.attrs['HostConfig']['Memory'], 64 << 20)
    same(old.api.port('old', 80), [{'HostIp': '127.0.0.1', 'HostPort': '12480'}])
    same([one.name for one in old.containers.list(filters={'name': '^/old$'})], ['old'])
    same(container.exec_run('echo in').output, b'in\n')
    network = old.networks.create('oldnet', check_duplicate=True)
    network.connect(container, aliases=['elder'])
    assert 'oldnet' in old.containers.get('old').attrs['NetworkSettings']['Networks']
    network.disconnect(container)
    network.remove()
    same(old.api.inspect_container('old')['State']['Running'], True)
    container.remove(force=True)
    old.close()


@test
def life():
    """create, start, stats, top, pause, rename, update, restart, kill, wait and remove"""
    container = client.containers.create(BUSYBOX, ['sh', '-c', 'trap "exit 5" TERM; while :; do sleep 0.05; done'], name='life', labels={'a': 'b'})
    same(container.status, 'created')
    container.start()
    container.reload()
    same(container.status, 'running')
    stats = container.stats(stream=False)
    assert stats['memory_stats']['usage'] > 0 and stats['cpu_stats']['online_cpus'] > 0
    assert 'CMD' in container.top()['Titles']
    container.pause()
    container.reload()
    same(container.status, 'paused')
    container.unpause()
    container.rename('lives')
    container.update(mem_limit='64m', memswap_limit='128m', cpu_shares=100)
    container.reload()
    same((container.name, container.attrs['HostConfig']['Memory']), ('lives', 64 << 20))
    raises(docker.errors.APIError, lambda: container.remove(), 'container is running: stop the container before removing or force remove')
    container.kill('TERM')
    same(container.wait()['StatusCode'], 5)
    container.restart(timeout=1)
    container.stop(timeout=5)
    same(container.wait(condition='not-running')['StatusCode'], 5)
    # The answer's head comes as soon as the engine waits.
    waiting = api._post(api._url('/containers/{0}/wait', container.id), params={'condition': 'removed'}, stream=True)
    container.remove(v=True)
    same(waiting.json()['StatusCode'], 5)


@test
def options():
    """the options of create show in inspect and in the container"""
    container = idle(
        name='options', hostname='named', domainname='example.test', user='1000:1000', working_dir='/tmp', environment={'A': 'b'},
        cap_drop=['ALL'], cap_add=['NET_ADMIN'], read_only=True, tmpfs={'/run': 'size=1m'}, shm_size='8m', ulimits=[Ulimit(name='nofile', soft=64, hard=128)],
        sysctls={'net.core.somaxconn': '99'}, extra_hosts={'far': '192.0.2.1'}, dns=['192.0.2.53'], mem_limit='64m', nano_cpus=500_000_000, pids_limit=40,
        restart_policy={'Name': 'on-failure', 'MaximumRetryCount': 2}, log_config=LogConfig(type=LogConfig.types.JSON, config={'max-size': '1m'}),
        security_opt=['no-new-privileges'], healthcheck=Healthcheck(test=['NONE']), stop_signal='SIGKILL', group_add=['44'], ipc_mode='private',
        mounts=[Mount('/vol', 'option-volume', labels={'kind': 'made'}), Mount('/scratch', None, type='tmpfs', tmpfs_size=65536)],
    )
    attrs = container.attrs
    same((attrs['HostConfig']['NanoCpus'], attrs['HostConfig']['PidsLimit'], attrs['HostConfig']['ReadonlyRootfs']), (500_000_000, 40, True))
    same(attrs['HostConfig']['RestartPolicy'], {'Name': 'on-failure', 'MaximumRetryCount': 2})
    same(attrs['Config']['StopSignal'], 'SIGKILL')
    said = container.exec_run(['sh', '-c', 'id -u; hostname; pwd; echo $A; ulimit -n; cat /proc/sys/net/core/somaxconn; grep far /etc/hosts']).output
    same(said.decode().split(), ['1000', 'named', '/tmp', 'b', '64', '99', '192.0.2.1', 'far'])
    same(client.volumes.get('option-volume').attrs['Labels'], {'kind': 'made'})
    container.remove(force=True, v=True)
    client.volumes.get('option-volume').remove()


@test
def streams():
    """logs with every option, followed; attach over a socket; exec with both streams, a socket and its exit code"""
    container = client.containers.run(BUSYBOX, ['sh', '-c', 'echo out; echo err >&2; sleep 0.1; echo last'], detach=True)
    container.wait()
    same(container.logs(stderr=False), b'out\nlast\n')
    same(container.logs(stdout=False), b'err\n')
    same(container.logs(tail=1), b'last\n')
    assert b'Z last' in container.logs(timestamps=True, tail=1)
    same(b''.join(container.logs(stream=True, follow=True)).splitlines().__len__(), 3)
    container.remove()
    container = idle(name='streams')
    code, (out, err) = container.exec_run(['sh', '-c', 'echo o; echo e >&2; exit 4'], demux=True)
    same((code, out, err), (4, b'o\n', b'e\n'))
    same(b''.join(container.exec_run(['echo', 'streamed'], stream=True).output), b'streamed\n')
    exec_id = api.exec_create('streams', 'cat', stdin=True)['Id']
    socket = api.exec_start(exec_id, socket=True)
    same(api.exec_inspect(exec_id)['Running'], True)
    socket._sock.sendall(b'to and fro\n')
    same(socket.read(8 + 11), b'\x01\0\0\0\0\0\0\x0bto and fro\n')
    socket._sock.close()
    socket.close()
    same(container.exec_run(['sh', '-c', 'echo $WORD; pwd; id -u'], environment={'WORD': 'x'}, workdir='/tmp', user='1000').output, b'x\n/tmp\n1000\n')
    container.remove(force=True)
    container = client.containers.create(BUSYBOX, ['sh', '-c', 'read line; echo got $line'], stdin_open=True)
    socket = container.attach_socket(params={'stdin': 1, 'stdout': 1, 'stream': 1})
    container.start()
    socket._sock.sendall(b'words\n')
    same(socket.read(8 + 10), b'\x01\0\0\0\0\0\0\x0agot words\n')
    socket.close()
    same(container.wait()['StatusCode'], 0)
    container.remove()


@test
def files():
    """put_archive, get_archive, diff, commit, export, save and load"""
    container = idle(name='files')
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode='w') as tar:
        entry = tarfile.TarInfo('note')
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b'hello'))
    assert container.put_archive('/tmp', archive.getvalue())
    chunks, stat = container.get_archive('/tmp/note')
    same((stat['name'], stat['size']), ('note', 5))
    with tarfile.open(fileobj=io.BytesIO(b''.join(chunks))) as tar:
        same(tar.extractfile('note').read(), b'hello')
    raises(docker.errors.NotFound, lambda: container.get_archive('/absent'), f'Could not find the file /absent in container {container.id}')
    assert {'Path': '/tmp/note', 'Kind': 1} in container.diff()
    image = container.commit('committed', 'one', author='me', changes='ENV MADE=yes')
    same(image.tags, ['committed:one'])
    same(client.containers.run('committed:one', ['sh', '-c', 'cat /tmp/note; echo $MADE'], remove=True), b'helloyes\n')
    assert b'tmp/note' in b''.join(container.export())
    saved = b''.join(image.save(named=True))
    container.remove(force=True)
    client.images.remove('committed:one')
    raises(docker.errors.ImageNotFound, lambda: client.images.get('committed:one'), 'No such image: committed:one')
    same(client.images.load(saved)[0].tags, ['committed:one'])
    client.images.remove('committed:one')


@test
def images():
    """images: list, filters, tag, history, attributes, prune, and the error of a registry that does not answer"""
    image = client.images.get(BUSYBOX)
    assert image.tag('renamed', 'two')
    same(sorted(tag for one in client.images.list(name='renamed') for tag in one.tags if 'renamed' in tag), ['renamed:two'])
    assert image.history()[0]['Id']
    same([one.id for one in client.images.list(filters={'reference': 'busybox*'})], [image.id])
    client.images.remove('renamed:two')
    assert 'SpaceReclaimed' in client.images.prune()
    raises(docker.errors.APIError, lambda: client.images.pull('127.0.0.1:9/absent', tag='one'), 'connection refused')


@test
def networks():
    """networks: IPAM, connect with an address and aliases, filters, errors, removal by label, prune"""
    pool = IPAMConfig(pool_configs=[IPAMPool(subnet='10.91.0.0/24', gateway='10.91.0.1')])
    network = client.networks.create('pynet', driver='bridge', ipam=pool, labels={'who': 'py'}, internal=True)
    same(network.attrs['IPAM']['Config'], [{'Subnet': '10.91.0.0/24', 'Gateway': '10.91.0.1'}])
    container = idle(name='netted')
    network.connect(container, ipv4_address='10.91.0.7', aliases=['seven'])
    network.reload()
    same([one.name for one in network.containers], ['netted'])
    container.reload()
    joined = container.attrs['NetworkSettings']['Networks']['pynet']
    same(joined['IPAddress'], '10.91.0.7')
    assert 'seven' in joined['Aliases']
    raises(docker.errors.APIError, network.remove, 'has active endpoints')
    raises(docker.errors.APIError, lambda: client.networks.create('other', ipam=pool), 'Pool overlaps with other one on this address space')
    raises(docker.errors.APIError, lambda: client.networks.create('pynet', check_duplicate=True), 'network with name pynet already exists')
    network.disconnect(container)
    same([one.name for one in client.networks.list(names=['^bridge$'])], ['bridge'])
    same([one.name for one in client.networks.list(filters={'label': 'who=py'})], ['pynet'])
    container.remove(force=True)
    same(client.networks.prune(filters={'label': 'who=py'})['NetworksDeleted'], ['pynet'])
    config = api.create_networking_config({'bridge': EndpointConfig('1.41')})
    created = api.create_container(BUSYBOX, 'true', networking_config=config)
    api.remove_container(created)


@test
def volumes():
    """volumes: create, filters, errors, prune by label"""
    volume = client.volumes.create('pyvol', driver='local', labels={'who': 'py'})
    same(volume.attrs['Driver'], 'local')
    same([one.name for one in client.volumes.list(filters={'label': 'who=py'})], ['pyvol'])
    container = client.containers.create(BUSYBOX, 'true', volumes={'pyvol': {'bind': '/data', 'mode': 'ro'}})
    raises(docker.errors.APIError, volume.remove, 'volume is in use - [')
    container.remove()
    raises(docker.errors.NotFound, lambda: client.volumes.get('absent'), 'no such volume')
    client.volumes.create(labels={'who': 'py'})
    pruned = client.volumes.prune(filters={'label': 'who=py'})
    assert pruned['VolumesDeleted'], pruned
    volume.remove()


@test
def by_label():
    """containers by label, name, state, ancestor and volume; removal by label over four types of objects"""
    label = {'session': 'four'}
    network = client.networks.create('four', labels=label)
    volume = client.volumes.create('four', labels=label)
    container = idle(name='four', labels=label, network='four', volumes={'four': {'bind': '/four'}})
    image = container.commit('four', changes='LABEL session=four')
    filters = {'label': 'session=four'}
    for more in ({}, {'name': '^four$'}, {'status': 'running'}, {'ancestor': BUSYBOX}, {'volume': 'four'}, {'network': 'four'}):
        same([one.id for one in client.containers.list(filters={**filters, **more})], [container.id])
    same(client.containers.list(filters={'name': '^fou$'}), [])
    same([one.id for one in client.images.list(filters=filters)], [image.id])
    for one in client.containers.list(all=True, filters=filters):
        one.remove(force=True, v=True)
    for one in client.networks.list(filters=filters):
        one.remove()
    for one in client.volumes.list(filters=filters):
        one.remove()
    for one in client.images.list(filters=filters):
        client.images.remove(one.id, force=True)
    for kind in (client.networks, client.volumes, client.images):
        same(kind.list(filters=filters), [])
    raises(docker.errors.NotFound, network.reload, 'network')
    raises(docker.errors.NotFound, volume.reload, 'no such volume')


@test
def health_and_events():
    """health events and states, and events since a time, filtered and live"""
    live = api.events(decode=True, filters={'type': 'container', 'container': 'healthy'})
    check = Healthcheck(test=['CMD', 'true'], interval=200_000_000, timeout=5_000_000_000, retries=3)
    container = idle(name='healthy', healthcheck=check)
    seen = []
    for event in live:
        seen.append(event['Action'])
        if event['Action'] == 'health_status: healthy':
            break
    live.close()
    assert seen[:2] == ['create', 'start'], seen
    container.reload()
    same(container.attrs['State']['Health']['Status'], 'healthy')
    same(container.attrs['State']['Health']['Log'][0]['ExitCode'], 0)
    same([one.name for one in client.containers.list(filters={'health': 'healthy'})], ['healthy'])
    container.remove(force=True)
    end = client.info()['SystemTime'][:19]
    past = list(api.events(since=0, until=end_of(end), decode=True, filters={'container': 'healthy', 'event': ['die', 'destroy']}))
    same([event['Action'] for event in past], ['die', 'destroy'])
    same(past[0]['Actor']['Attributes']['exitCode'], '137')


def end_of(text):
    from datetime import datetime, timedelta

    return datetime.fromisoformat(text) + timedelta(seconds=2)


@test
def twice():
    """names in use, removals that go on already, and what runs or does not"""
    container = idle(name='twice')
    error = raises(docker.errors.APIError, lambda: client.containers.create(BUSYBOX, name='twice'), 'is already in use by container')
    same(error.status_code, 409)
    container.start()
    container.kill()
    container.wait()
    error = raises(docker.errors.APIError, container.kill, f'container {container.id} is not running')
    same(error.status_code, 409)
    raises(docker.errors.APIError, lambda: container.exec_run('true'), f'container {container.id} is not running')
    raises(docker.errors.APIError, container.pause, 'is not running')
    container.remove()
    raises(docker.errors.NotFound, container.remove, 'No such container')


def context(**files):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode='w') as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    content.seek(0)
    return content


def said(logs):
    return ''.join(line.get('stream', '') for line in logs)


@test
def build():
    """images.build: a Dockerfile, a folder, an own context, arguments, labels, a target, the cache"""
    image, logs = client.images.build(fileobj=io.BytesIO(f'FROM {BUSYBOX}\nCMD ["echo", "alone"]\n'.encode()), tag='py/alone', rm=True)
    same(client.containers.run('py/alone', remove=True), b'alone\n')
    assert image.id == client.images.get('py/alone:latest').id
    with tempfile.TemporaryDirectory() as folder:
        texts = {
            'Dockerfile': f'FROM {BUSYBOX} AS first\nARG WORD=none\nCOPY . /c\nRUN echo said $WORD; ls /c\nFROM first\nRUN exit 1\n',
            'taken': '',
            'left': '',
            '.dockerignore': 'left\n',
        }
        for name, text in texts.items():
            with open(os.path.join(folder, name), 'w') as file:
                file.write(text)
        options = dict(path=folder, tag='py/folder:1', buildargs={'WORD': 'well'}, labels={'kind': 'built'}, target='first', rm=True, forcerm=True)
        image, logs = client.images.build(**options)
        text = said(logs)
        assert 'said well\nDockerfile\ntaken\n' in text, text
        same(image.labels, {'kind': 'built'})
        same(image.tags, ['py/folder:1'])
        again, logs = client.images.build(**options, cache_from=['py/folder:1'])
        assert ' ---> Using cache\n' in said(logs)
        same(again.id, image.id)
        _, logs = client.images.build(**{**options, 'nocache': True})
        assert 'Using cache' not in said(logs)
        error = raises(docker.errors.BuildError, lambda: client.images.build(path=folder), "The command '/bin/sh -c exit 1' returned a non-zero code: 1")
        assert any('errorDetail' in line for line in error.build_log)
    limits = {'memory': 64 << 20, 'memswap': -1, 'cpushares': 100, 'cpusetcpus': '0'}
    own = dict(custom_context=True, quiet=True, shmsize=8 << 20, network_mode='none', extra_hosts={'one': '10.0.0.1'}, container_limits=limits)
    dockerfile = f'FROM {BUSYBOX}\nCOPY taken /\nRUN cat /etc/hosts > /hosts; df -k /dev/shm > /shm\n'
    image, _ = client.images.build(fileobj=context(**{'d.file': dockerfile, 'taken': 'taken'}), dockerfile='d.file', **own)
    same(client.containers.run(image.id, ['cat', '/taken'], remove=True), b'taken')
    assert b'10.0.0.1\tone' in client.containers.run(image.id, ['cat', '/hosts'], remove=True)
    packed = gzip.compress(context(Dockerfile=dockerfile, taken='packed').getvalue())
    image, _ = client.images.build(fileobj=io.BytesIO(packed), custom_context=True, encoding='gzip')
    same(client.containers.run(image, ['cat', '/taken'], remove=True), b'packed')


@test
def wrong_builds():
    """images.build: what goes wrong before and during a build"""
    def build(text, **options):
        return lambda: client.images.build(fileobj=context(Dockerfile=text), custom_context=True, **options)

    error = raises(docker.errors.APIError, build(f'FROM {BUSYBOX}\nRUNN\n'), 'unknown instruction: RUNN')
    same(error.status_code, 400)
    error = raises(docker.errors.APIError, build('', dockerfile='absent'), 'Cannot locate specified Dockerfile: absent')
    same(error.status_code, 500)
    raises(docker.errors.APIError, build(f'FROM {BUSYBOX}\n', target='absent'), 'target stage "absent" could not be found')
    raises(docker.errors.BuildError, build(f'FROM {BUSYBOX}\nCOPY absent /\n'), 'COPY failed: file not found in build context')
    lines = list(api.build(fileobj=context(Dockerfile=f'FROM {BUSYBOX}\nRUN exit 3\n'), custom_context=True, decode=True))
    same(lines[-1]['errorDetail']['code'], 3)


if sys.argv[1] == 'list':
    print(json.dumps(list(tests)))
else:
    tests[sys.argv[2]]()

const RELEASE = 'one';

export default {
  fetch() {
    return Response.json({ release: RELEASE, percent: 19 });
  },
};
